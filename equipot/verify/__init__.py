"""Verification of potentials and of tensor-product backends.

Loading a potential with another backend uses a part of it, so the package depends on
potentials and structures, but not on files.
"""

from equipot.verify.backend import BackendMismatchError as BackendMismatchError
from equipot.verify.backend import check_backend as check_backend
from equipot.verify.backend import expect as expect
from equipot.verify.backend import verify_backend as verify_backend
from equipot.verify.result import BackendReport as BackendReport
from equipot.verify.result import Check as Check
