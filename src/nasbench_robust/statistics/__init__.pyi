from .ranks import Interval as Interval
from .ranks import checked_generator as checked_generator
