public class Main {
    public static JsonObject main(
}
