// Loads one .NET action and runs it as often as it is told to.
//
// Orders come on standard input, frames go out on file descriptor 3, as
// runtimes/README.md says. An action is a published assembly whose entry point
// is `Assembly::Namespace.Class::Method`, a static or instance method from
// Newtonsoft's JObject to JObject, or a task of one; arrays are JArray.

using System;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.Loader;
using System.Text;
using System.Threading.Tasks;
using Microsoft.Win32.SafeHandles;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;

public static class Launcher
{
    private const string NotAResult = "The action did not return a dictionary or array.";

    private static Stream frames;
    private static string activation = new string('0', 32);
    private static readonly Log Out = new Log('O');
    private static readonly Log Err = new Log('E');

    public static int Main()
    {
        var orders = new StreamReader(new FileStream("/proc/self/fd/0", FileMode.Open, FileAccess.Read), new UTF8Encoding(false));
        frames = new FileStream(new SafeFileHandle(new IntPtr(3), true), FileAccess.Write, 0);
        Console.SetIn(TextReader.Null);
        Console.SetOut(Out);
        Console.SetError(Err);
        Func<JToken, JToken> action = null;
        for (string line = orders.ReadLine(); line != null; line = orders.ReadLine())
        {
            JObject order;
            try
            {
                using (var reader = new JsonTextReader(new StringReader(line)) { DateParseHandling = DateParseHandling.None })
                {
                    order = JObject.Load(reader);
                }
            }
            catch (JsonException)
            {
                return 70;
            }
            if (order["init"] is JObject init)
            {
                action = Init(init);
            }
            else
            {
                Run(action, order);
            }
        }
        // Whatever threads user code has left.
        Environment.Exit(0);
        return 0;
    }

    private static Func<JToken, JToken> Init(JObject init)
    {
        activation = (string)init["activation"];
        try
        {
            foreach (JProperty variable in init["env"])
            {
                Environment.SetEnvironmentVariable(variable.Name, (string)variable.Value);
            }
            var action = Find((string)init["folder"], (string)init["main"]);
            End("I {\"ok\":true}");
            return action;
        }
        catch (Exception failure)
        {
            Console.Error.WriteLine(failure);
            End("I " + Error(failure.Message));
            return null;
        }
    }

    private static Func<JToken, JToken> Find(string folder, string main)
    {
        string[] names = main.Split(new[] { "::" }, StringSplitOptions.None);
        if (names.Length != 3)
        {
            throw new ArgumentException("main required format is \"Assembly::Type::Function\".");
        }
        Directory.SetCurrentDirectory(folder);
        string file = Path.Combine(folder, names[0] + ".dll");
        var resolver = new AssemblyDependencyResolver(file);
        AssemblyLoadContext.Default.Resolving += (context, name) =>
        {
            string path = resolver.ResolveAssemblyToPath(name) ?? Path.Combine(folder, name.Name + ".dll");
            return File.Exists(path) ? context.LoadFromAssemblyPath(path) : null;
        };
        Assembly assembly = AssemblyLoadContext.Default.LoadFromAssemblyPath(file);
        Type type = assembly.GetType(names[1]) ?? throw new ArgumentException("there is no type " + names[1]);
        MethodInfo method = type.GetMethod(names[2]) ?? throw new ArgumentException("there is no method " + names[2]);
        object target = method.IsStatic ? null : Activator.CreateInstance(type);
        return value =>
        {
            object result = method.Invoke(target, new object[] { value });
            if (result is Task task)
            {
                task.GetAwaiter().GetResult();
                result = task.GetType().GetProperty("Result")?.GetValue(task);
            }
            return result as JToken;
        };
    }

    private static void Run(Func<JToken, JToken> action, JObject order)
    {
        activation = (string)order["activation_id"];
        string frame;
        try
        {
            foreach (JProperty member in order.Properties().Where(member => member.Name != "value"))
            {
                Environment.SetEnvironmentVariable("__OW_" + member.Name.ToUpperInvariant(), (string)member.Value);
            }
            JToken answer = action(order["value"]);
            frame = answer is JObject || answer is JArray
                ? "R " + activation + " " + answer.ToString(Formatting.None)
                : "F " + activation + " " + Error(NotAResult);
        }
        catch (Exception failure)
        {
            Exception cause = failure is TargetInvocationException ? failure.InnerException : failure;
            Console.Error.WriteLine(cause);
            frame = "R " + activation + " " + Error(cause.Message);
        }
        End(frame);
    }

    private static string Error(string words)
    {
        return new JObject { ["error"] = words }.ToString(Formatting.None);
    }

    /// Sends a last frame, after the lines that were left unfinished.
    private static void End(string frame)
    {
        lock (Out)
        {
            Out.Finish();
            Err.Finish();
            Send(frame);
        }
    }

    private static void Send(string line)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(line + "\n");
        frames.Write(bytes, 0, bytes.Length);
        frames.Flush();
    }

    /// Stands where standard output or error was.
    private sealed class Log : TextWriter
    {
        /// UTF-8 takes at most three bytes for each of them: 16384 in all.
        private const int LineCharacters = 5461;

        private readonly char letter;
        private readonly StringBuilder line = new StringBuilder();

        public Log(char letter)
        {
            this.letter = letter;
        }

        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(char one)
        {
            lock (Out)
            {
                if (one == '\n')
                {
                    Emit();
                    return;
                }
                if (line.Length >= LineCharacters - 1 && !char.IsLowSurrogate(one))
                {
                    Emit();
                }
                line.Append(one);
            }
        }

        public void Finish()
        {
            if (line.Length > 0)
            {
                Emit();
            }
        }

        private void Emit()
        {
            long micros = (DateTime.UtcNow - DateTime.UnixEpoch).Ticks / 10;
            Send(letter + " " + activation + " " + micros + " " + line);
            line.Clear();
        }
    }
}
