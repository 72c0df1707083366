from .assembling import page as page
from .assembling import write_page as write_page
