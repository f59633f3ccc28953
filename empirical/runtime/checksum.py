"""One checksum of a document and tensors, which every stored file carries in its header.

It covers the document's text and, of each tensor, name, type, shape and bytes; so it notices a changed bit anywhere in
a safetensors file, the file's own header included. Files of version 0.1 carry none and are read without.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

KEY = "checksum"


def checksum(document: str, tensors: Mapping[str, Tensor]) -> str:
    """Eight hexadecimal digits (CRC-32); the order of the tensors does not count."""
    found = zlib.crc32(document.encode(errors="surrogatepass"))
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def is_intact(header: Mapping[str, str], keys: tuple[str, ...], document: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file is as it was written.

    Args:
        header: what the file says of itself.
        keys: what a header without a checksum, as version 0.1 wrote it, consists of.
        document: text that the checksum covers.
        tensors: all of the file.

    """
    if set(header) == set(keys):
        return True
    return set(header) == {*keys, KEY} and header[KEY] == checksum(document, tensors)
