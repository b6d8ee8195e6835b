import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;

/** Does what `do` says; ../README.md lists the deeds. */
public class Main {
    private static int count = 0;

    public static JsonElement main(JsonObject args) throws IOException {
        JsonObject answer = new JsonObject();
        switch (args.get("do").getAsString()) {
            case "count":
                answer.addProperty("count", ++count);
                return answer;
            case "log":
                for (JsonElement line : args.getAsJsonArray("lines")) {
                    JsonArray pair = line.getAsJsonArray();
                    PrintStream stream = pair.get(0).getAsString().equals("stdout") ? System.out : System.err;
                    stream.println(pair.get(1).getAsString());
                }
                return answer;
            case "tail":
                System.out.print(args.get("text").getAsString());
                return answer;
            case "flood":
                String line = "x".repeat(args.get("width").getAsInt());
                for (int n = 0; n < args.get("lines").getAsInt(); n++) {
                    System.out.println(line);
                }
                answer.add("lines", args.get("lines"));
                return answer;
            case "env":
                for (JsonElement name : args.getAsJsonArray("names")) {
                    answer.addProperty(name.getAsString(), System.getenv(name.getAsString()));
                }
                return answer;
            case "make":
                answer.addProperty("text", "x".repeat(args.get("bytes").getAsInt()));
                return answer;
            case "throw":
                throw new IllegalStateException("boom");
            case "exit":
                System.out.println("before the exit");
                System.exit(3);
                return answer;
            case "hang":
                System.out.println("before the wait");
                while (true) {
                    Thread.onSpinWait();
                }
            case "hog":
                List<byte[]> kept = new ArrayList<>();
                while (true) {
                    kept.add(new byte[1 << 20]);
                }
            case "number":
                return new JsonPrimitive(5);
            case "text":
                return new JsonPrimitive("five");
            case "nothing":
                return null;
            case "list":
                return JsonParser.parseString("[1, \"two\", {\"three\": 3}]");
            case "error":
                answer.add("error", args.has("error") ? args.get("error") : JsonNull.INSTANCE);
                return answer;
            case "read":
                answer.addProperty("text", Files.readString(Path.of(args.get("path").getAsString())));
                return answer;
            case "write":
                try {
                    Files.writeString(Path.of(args.get("path").getAsString()), args.get("text").getAsString());
                    answer.addProperty("wrote", true);
                } catch (IOException refused) {
                    answer.addProperty("wrote", false);
                }
                return answer;
            case "stdin":
                answer.addProperty("stdin", new String(System.in.readAllBytes(), StandardCharsets.UTF_8));
                return answer;
            default:
                throw new IllegalArgumentException("what?");
        }
    }
}
