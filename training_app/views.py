from django.http import HttpRequest, HttpResponse

from mlxgui.pages import page


def index(request: HttpRequest) -> HttpResponse:
    return page(request, "training_app/index.html")
