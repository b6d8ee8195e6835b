import java.io.IOException;
import java.nio.charset.StandardCharsets;

import com.google.gson.JsonObject;

import greetings.Greet;

public class Main {
    public static JsonObject main(JsonObject args) throws IOException {
        JsonObject answer = new JsonObject();
        answer.addProperty("greeting", Greet.greet(args.get("name").getAsString()));
        byte[] data = Main.class.getResourceAsStream("/data.txt").readAllBytes();
        answer.addProperty("data", new String(data, StandardCharsets.UTF_8).trim());
        return answer;
    }
}
