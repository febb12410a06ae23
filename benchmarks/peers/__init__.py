"""Other packages that compute what equipot computes, called as they document it."""
