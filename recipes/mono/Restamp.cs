// A compiler of Mono stamps what it makes with the time and a random number. What is made of the same sources is to be the same.
// Given: the path of an assembly (.exe or .dll).
// Leaves: the same assembly there, its stamps made of its content.
using Mono.Cecil;

class Restamp
{
    static void Main(string[] args)
    {
        using (var module = ModuleDefinition.ReadModule(args[0], new ReaderParameters { InMemory = true }))
            module.Write(args[0], new WriterParameters { DeterministicMvid = true, Timestamp = 0 });
    }
}
