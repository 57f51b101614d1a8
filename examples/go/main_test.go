package main

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGreets(t *testing.T) {
	t.Setenv("NAME", "tests")
	answer := httptest.NewRecorder()
	greet(answer, httptest.NewRequest("GET", "/", nil))
	if body := answer.Body.String(); !strings.Contains(body, "Hello, tests!") {
		t.Errorf("expected a greeting, found %s", body)
	}
}
