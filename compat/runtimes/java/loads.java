import com.google.gson.JsonObject;

public class Main {
    static final String TOKEN = System.getenv("TOKEN");
    static final String NAME = System.getenv("__OW_ACTION_NAME");

    static {
        System.out.println("at load");
    }

    public static JsonObject main(JsonObject args) {
        System.out.println("at run");
        JsonObject answer = new JsonObject();
        answer.addProperty("token", TOKEN);
        answer.addProperty("name", NAME);
        answer.add("arguments", args);
        return answer;
    }
}
