"""Errors as HTTP says them (RFC 9457): one table from classes to statuses."""

from http import HTTPStatus

from models import errors
from models.record import Problem

STATUSES: dict[type[errors.ImmersivaudioError], HTTPStatus] = {
    errors.UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.DamagedMedia: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InputTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.InvalidOptions: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.MissingOutput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.TooBusy: HTTPStatus.TOO_MANY_REQUESTS,
    errors.StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.Interrupted: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ModelUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ModuleFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ImmersivaudioError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def status_of(error: errors.ImmersivaudioError) -> HTTPStatus:
    """The status of the error's class, or of the nearest class above it."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem(status: HTTPStatus, detail: str) -> Problem:
    return Problem(title=status.phrase, status=status, detail=detail)
