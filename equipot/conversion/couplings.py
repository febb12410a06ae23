"""Signs of the couplings that files of e3nn hold."""

import torch

from equipot.conversion.accounting import SourceTensors
from equipot.conversion.errors import ConversionError
from equipot.so3 import wigner_3j


def sign_of_coupling(
    tensors: SourceTensors,
    name: str,
    degrees: tuple[int, int, int],
    *,
    required: bool = True,
) -> float:
    """Factor 1 or -1 from a 3j symbol of equipot to that of a file.

    e3nn changed the sign of some between its versions 0.4.4 and 0.5.0. Symbols with a
    degree 0 have one sign, and are not in files.

    Args:
        tensors: Of the file.
        name: Of the symbol in the file.
        degrees: Of the symbol.
        required: Whether its absence is an error; otherwise the sign is that of e3nn
            0.5, which is that of equipot.

    Raises:
        ConversionError: If it is missing, or no 3j symbol.
    """
    if 0 in degrees or (name not in tensors and not required):
        return 1.0
    ours = wigner_3j(*degrees)
    theirs = tensors.take(name, tuple(ours.shape))
    sign = 1.0 if bool((theirs * ours).sum() > 0) else -1.0
    if not torch.allclose(theirs, sign * ours, rtol=0, atol=1e-5):
        raise ConversionError(f"{name} is not a 3j symbol up to its sign")
    return sign
