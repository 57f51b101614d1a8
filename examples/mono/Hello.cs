using System;
using System.Collections.Generic;
using System.Json;
using System.Net;
using System.Text;
using System.Threading;
using Mono.Unix;
using Mono.Unix.Native;

/// Answers every HTTP request with a greeting.
static class Hello
{
    static string Variable(string name, string otherwise)
    {
        string value = Environment.GetEnvironmentVariable(name);
        return string.IsNullOrEmpty(value) ? otherwise : value;
    }

    internal static string Greeting(string name)
    {
        var fields = new Dictionary<string, JsonValue> {
            { "message", $"Hello, {name}!" },
            { "mono", Environment.Version.ToString() },
            { "user", UnixUserInfo.GetRealUser().UserName },
        };
        return new JsonObject(fields).ToString();
    }

    static void Answer(HttpListenerContext context)
    {
        byte[] body = Encoding.UTF8.GetBytes(Greeting(Variable("NAME", "world")) + "\n");
        context.Response.ContentType = "application/json";
        context.Response.ContentLength64 = body.Length;
        context.Response.OutputStream.Write(body, 0, body.Length);
        context.Response.Close();
    }

    static void Serve(HttpListener server)
    {
        while (server.IsListening) {
            try {
                HttpListenerContext context = server.GetContext();
                ThreadPool.QueueUserWorkItem(_ => Answer(context));
            } catch (HttpListenerException) when (!server.IsListening) {
                return;
            }
        }
    }

    static void Main()
    {
        string port = Variable("PORT", "8080");
        var server = new HttpListener();
        server.Prefixes.Add($"http://*:{port}/");
        server.Start();
        new Thread(() => Serve(server)) { IsBackground = true }.Start();
        Console.Error.WriteLine($"listening on port {port}");
        UnixSignal.WaitAny(new[] { new UnixSignal(Signum.SIGTERM), new UnixSignal(Signum.SIGINT) });
        server.Stop();
    }
}
