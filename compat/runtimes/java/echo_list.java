import com.google.gson.JsonArray;

public class Main {
    public static JsonArray main(JsonArray args) {
        return args;
    }
}
