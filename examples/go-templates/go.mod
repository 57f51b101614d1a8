module example.org/go-templates

go 1.19
