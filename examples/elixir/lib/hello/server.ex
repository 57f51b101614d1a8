defmodule Hello.Server do
  @moduledoc "Answers every HTTP request with a greeting; each connection has a task of its own."
  use Task, restart: :permanent
  require Logger

  def start_link(port), do: Task.start_link(__MODULE__, :listen, [port])

  def listen(port) do
    {:ok, socket} = :gen_tcp.listen(port, [:binary, packet: :http_bin, active: false, reuseaddr: true, backlog: 128])
    Logger.info("listening on port #{port}")
    accept(socket)
  end

  defp accept(socket) do
    {:ok, client} = :gen_tcp.accept(socket)
    {:ok, task} = Task.Supervisor.start_child(Hello.Requests, fn -> receive(do: (:yours -> answer(client))) end)
    :ok = :gen_tcp.controlling_process(client, task)
    send(task, :yours)
    accept(socket)
  end

  defp answer(client) do
    case :gen_tcp.recv(client, 0, 10_000) do
      {:ok, :http_eoh} ->
        body = Hello.greeting(System.get_env("NAME", "world"))

        :gen_tcp.send(client, [
          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n",
          "Content-Length: #{byte_size(body)}\r\n\r\n",
          body
        ])

        :gen_tcp.close(client)

      {:ok, _line} ->
        answer(client)

      {:error, _closed} ->
        :gen_tcp.close(client)
    end
  end
end
