import com.google.gson.JsonObject;

public class Main {
    public static JsonObject niam(JsonObject args) {
        JsonObject answer = new JsonObject();
        answer.add("niam", args);
        return answer;
    }
}
