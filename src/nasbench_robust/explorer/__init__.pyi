from .assembling import page as page
from .assembling import page_file as page_file
from .assembling import write_page as write_page
