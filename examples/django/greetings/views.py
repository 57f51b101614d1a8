import os
import platform
import pwd

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render


def greet(request):
    return JsonResponse(
        {
            "message": f"Hello, {os.environ.get('NAME', 'world')}!",
            "python": platform.python_version(),
            "user": pwd.getpwuid(os.getuid()).pw_name,
        }
    )


def page(request):
    return render(request, "greetings/page.html")


def healthz(request):
    return HttpResponse(status=204)
