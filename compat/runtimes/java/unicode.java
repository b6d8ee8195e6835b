import com.google.gson.JsonObject;

public class Main {
    public static JsonObject main(JsonObject args) {
        String greeting = "Grüße, 世界 and " + args.get("name").getAsString() + "!";
        System.out.println(greeting);
        JsonObject answer = new JsonObject();
        answer.addProperty("greeting", greeting);
        return answer;
    }
}
