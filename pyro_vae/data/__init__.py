"""Data sets, their splits, and the few transforms that variational autoencoders need.

:func:`load` returns a :class:`Dataset` of three :class:`Split` s; :func:`as_split` turns whatever a user has
(tensors, arrays, a data frame, a ``torch.utils.data.Dataset``) into a :class:`Split`. Everything is held in
memory as tensors, except what is :class:`Streamed`. scikit-learn, torchvision and scipy are imported only by the
data sets that need them.

Example:
    >>> from pyro_vae import data
    >>> digits = data.load("digits")
    >>> digits
    Dataset('digits', kind='grey', shape=(1, 8, 8), num_classes=10, train=1257, valid=270, test=270)
    >>> data.labelled_subset(digits.train, 100)
    Split(x=(1257, 1, 8, 8) float32, y=(1257,) int64, 100 labelled)
"""

from pyro_vae.data.affine import RandomAffine
from pyro_vae.data.convert import as_split
from pyro_vae.data.files import DataCorrupted, DataNotFound
from pyro_vae.data.quadrants import Quadrants
from pyro_vae.data.registry import available, load
from pyro_vae.data.split import Dataset, Split
from pyro_vae.data.streamed import Streamed, as_stream
from pyro_vae.data.strokes import STROKE_PROPERTIES, stroke_properties
from pyro_vae.data.transforms import binarize, labelled_subset, threshold

__all__ = [
    "STROKE_PROPERTIES",
    "DataCorrupted",
    "DataNotFound",
    "Dataset",
    "Quadrants",
    "RandomAffine",
    "Split",
    "Streamed",
    "as_split",
    "as_stream",
    "available",
    "binarize",
    "labelled_subset",
    "load",
    "stroke_properties",
    "threshold",
]
