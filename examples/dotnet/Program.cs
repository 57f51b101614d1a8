// Answers every HTTP request with a greeting.

var builder = WebApplication.CreateBuilder(args);
if (Environment.GetEnvironmentVariable("PORT") is { Length: > 0 } port)
{
    builder.WebHost.UseUrls($"http://*:{port}");
}

var app = builder.Build();
app.MapGet("/", () => new
{
    message = $"Hello, {Environment.GetEnvironmentVariable("NAME") ?? "world"}!",
    dotnet = Environment.Version.ToString(),
    user = Environment.UserName,
});
app.MapGet("/healthz", () => Results.NoContent());
app.Run();
