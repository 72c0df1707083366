from .catalogue import PROXIES as PROXIES
from .catalogue import Proxy as Proxy
from .scoring import Score as Score
from .scoring import score as score
from .scoring import scores as scores
