"""Whether a potential is right on this machine, with numbers.

A part of this is needed where a potential is loaded under another backend than it was
trained with; the package therefore knows potentials and structures, but no files.
"""

from equipot.verify.backend import BackendMismatchError as BackendMismatchError
from equipot.verify.backend import check_backend as check_backend
from equipot.verify.backend import expect as expect
from equipot.verify.backend import verify_backend as verify_backend
from equipot.verify.result import Check as Check
from equipot.verify.result import Verification as Verification
