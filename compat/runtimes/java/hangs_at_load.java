import com.google.gson.JsonObject;

public class Main {
    static {
        while (System.nanoTime() != 0) {
            Thread.onSpinWait();
        }
    }

    public static JsonObject main(JsonObject args) {
        return args;
    }
}
