"""What can be wrong with a study, each with a message that says where and what would be right."""


class WrongStudy(Exception):
    """What is asked for cannot be studied, and nothing has run for it."""


class StudyFailed(Exception):
    """Runs, or what carries them out, failed; what is done is kept."""
