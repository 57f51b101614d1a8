# Greets whoever asks, with httpuv: Debian's package, which microbuild.toml asks for.
library(httpuv)

port <- as.integer(Sys.getenv("PORT", "8080"))
answer <- function(request) {
  if (request$PATH_INFO != "/") return(list(status = 404L, headers = list(), body = ""))
  body <- sprintf('{"message":"Hello, %s!","user":"%s"}', Sys.getenv("NAME", "world"), Sys.info()[["user"]])
  list(status = 200L, headers = list("Content-Type" = "application/json"), body = body)
}
cat("listening on port", port, "\n")
runServer("0.0.0.0", port, list(call = answer))
