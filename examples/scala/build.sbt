name := "hello"
scalaVersion := "3.3.7"

libraryDependencies += "com.lihaoyi" %% "upickle" % "4.1.0"
libraryDependencies += "org.scalameta" %% "munit" % "1.1.1" % Test
