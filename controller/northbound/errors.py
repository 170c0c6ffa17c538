"""An answer that is an error, in the one form that CAMARA has for all of them."""

from typing import Any

LONGEST_MESSAGE = 512


class ApiError(Exception):
    """Ends a request with CAMARA's ErrorInfo."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def info(self) -> dict[str, Any]:
        return {"status": self.status, "code": self.code, "message": str(self)[:LONGEST_MESSAGE]}


def invalid(message: str) -> ApiError:
    return ApiError(400, "INVALID_ARGUMENT", message)
