from .importers import IMPORTERS as IMPORTERS
from .loading import is_here as is_here
from .loading import load as load
from .loading import locate as locate
from .publishing import publish as publish
from .publishing import upload as upload
