from .catalogue import PROXIES as PROXIES
from .catalogue import Proxy as Proxy
from .catalogue import find_proxy as find_proxy
from .scoring import score as score
from .scoring import scores as scores
