from django.urls import path

from mlxgui.openapi import api

urlpatterns = [path("openapi.json", api.openapi, name="openapi")]
