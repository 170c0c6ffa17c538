"""What Schemathesis checks beside its own checks."""

import schemathesis


@schemathesis.check
def right_form_is_no_invalid_argument(ctx, response, case):
    """What has the right form may still be out of range; it is an invalid argument only where no such profile exists."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    error = response.json()
    assert error["code"] != "INVALID_ARGUMENT" or "there is no QoS profile" in error["message"], error["message"]


@schemathesis.check
def an_error_says_what_is_wrong(ctx, response, case):
    """CAMARA's ErrorInfo, the status in it, and the correlator, whatever was asked."""
    if response.status_code >= 400:
        error = response.json()
        assert (
            set(error) == {"status", "code", "message"} and error["status"] == response.status_code and error["message"]
        )
    given = (case.headers or {}).get("x-correlator")
    if response.status_code < 400 and isinstance(given, str):
        assert response.headers.get("x-correlator") == [given], "the correlator is not given back"
