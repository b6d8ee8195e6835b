import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;

public class Main {
    public static JsonArray main(JsonObject args) {
        return JsonParser.parseString("[1, \"two\", {\"three\": 3}]").getAsJsonArray();
    }
}
