"""Examples of uploads for the OpenAPI description."""

from typing import Any

from models.record import Problem

UPLOAD_ID = "5f0c9f5d2a1e4c0f8a7b6c5d4e3f2a1b"
EXPIRES = "Wed, 25 Nov 2026 12:00:00 GMT"
METADATA = "filename YmVhY2gubXA0"
CHECKSUM = "md5 nhB9nTcrtoJr2B01QqQZ1g=="

PART: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/offset+octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "example": "(the bytes that come next)",
            }
        },
    }
}

_PROBLEMS = {
    400: ("Bad Request", "Upload-Length is a whole number of bytes, up to 18 digits, not 'many'"),
    404: ("Not Found", f"there is no upload {UPLOAD_ID[:8]!r}: an id is 32 hexadecimal digits"),
    409: ("Conflict", "the upload stands at byte 1048576, not at 0"),
    410: ("Gone", f"nothing came for upload {UPLOAD_ID} for 86400 s: it has expired"),
    412: ("Precondition Failed", "send Tus-Resumable: 1.0.0"),
    413: ("Request Entity Too Large", "the file has 5000000000 bytes; at most 4294967296 are taken"),
    415: ("Unsupported Media Type", "a part is sent as application/offset+octet-stream"),
    460: ("Checksum Mismatch", "the part's md5 is 9e107d9d372bb6826bd81d3542a419d6; send it again"),
    507: (
        "Insufficient Storage",
        "there is no space for 2345678 bytes: twice that is needed until the upload is complete",
    ),
}


def empty(description: str, **headers: str) -> dict[str, Any]:
    """An OpenAPI response without a body, with examples of its headers: `upload_offset` is Upload-Offset."""
    described = {
        name.replace("_", "-").title(): {"schema": {"type": "string"}, "example": example}
        for name, example in {"tus_resumable": "1.0.0", **headers}.items()
    }
    return {"description": description, "headers": described, "content": {}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for errors. Every call may answer 412, and needs no validation's 422."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in (*statuses, 412):
        title, detail = _PROBLEMS[status]
        example = Problem(title=title, status=status, detail=detail).model_dump()
        content = {"application/problem+json": {"schema": Problem.model_json_schema(), "example": example}}
        found[status] = {"description": title, "content": content}
    found["default"] = {**found[412], "description": "Any other error."}
    return found
