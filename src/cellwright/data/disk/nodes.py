"""What stands at a place of an open .h5ad or .zarr: an array or a group, asked the same way of both."""

from __future__ import annotations

from typing import Any


def is_group(node: Any) -> bool:
    """True for a group of h5py or zarr."""
    return hasattr(node, "keys") and not hasattr(node, "dtype")


def is_array(node: Any) -> bool:
    """True for an array of h5py or zarr that holds something."""
    return getattr(node, "dtype", None) is not None and getattr(node, "shape", None) is not None


def file_of(node: Any) -> str:
    """The file or folder that holds the node."""
    file = getattr(node, "file", None)
    if file is not None:
        return str(file.filename)
    store = getattr(node, "store", None)
    return str(getattr(store, "root", store))


def compression_of(node: Any) -> str | None:
    """How an array is packed, such as ``gzip`` or ``blosc``, None if it is not."""
    if not hasattr(node, "compressors"):
        return node.compression
    found = node.compressors
    if not found:
        return None
    name = getattr(found[0], "codec_id", None) or type(found[0]).__name__
    return str(name).removesuffix("Codec").lower()


def stored_bytes_of(node: Any) -> int:
    """Bytes an array takes on disk."""
    if hasattr(node, "nbytes_stored"):
        return int(node.nbytes_stored())
    return int(node.id.get_storage_size())
