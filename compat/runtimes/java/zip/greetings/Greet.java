package greetings;

public class Greet {
    public static String greet(String name) {
        return "Hello, " + name + "!";
    }
}
