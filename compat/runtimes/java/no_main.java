import com.google.gson.JsonObject;

public class Main {
    public static JsonObject other(JsonObject args) {
        return args;
    }
}
