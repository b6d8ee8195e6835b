import com.google.gson.JsonObject;

public class Main {
    static {
        System.out.println("at load");
        fail();
    }

    static void fail() {
        throw new IllegalStateException("not today");
    }

    public static JsonObject main(JsonObject args) {
        return args;
    }
}
