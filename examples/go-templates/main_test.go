package main

import (
	"html/template"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestThePageGreets(t *testing.T) {
	t.Setenv("NAME", "Ada")
	answer := httptest.NewRecorder()
	handler(template.Must(template.ParseGlob("templates/*.html"))).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	if !strings.Contains(answer.Body.String(), "Hello, Ada!") {
		t.Error(answer.Body.String())
	}
}
