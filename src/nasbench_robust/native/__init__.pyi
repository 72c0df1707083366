from .library import BUILDS as BUILDS
from .library import build_name as build_name
from .library import is_available as is_available
from .library import use_threads as use_threads
from .network import NativeNetwork as NativeNetwork
