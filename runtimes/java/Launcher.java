import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;

/**
 * Loads one Java action and runs it as often as it is told to.
 *
 * Orders come on standard input, frames go out on file descriptor 3, as
 * runtimes/README.md says. What is printed is framed at that moment, a line at
 * a time. The words are those of OpenWhisk's own proxy for Java.
 */
public final class Launcher {
    /** Longest log line; longer ones come in several. */
    private static final int LINE_BYTES = 16384;

    private final Map<String, String> environment;
    private final InputStream orders;
    private final OutputStream frames;
    private volatile String activation = "0".repeat(32);
    private final Log out = new Log('O');
    private final Log err = new Log('E');
    private Method action;

    private Launcher() throws IOException, ReflectiveOperationException {
        environment = environment();
        // By their names, so that the descriptors can be taken away from user
        // code; Java puts the null device in the place of one that is closed.
        orders = new FileInputStream("/proc/self/fd/0");
        frames = new FileOutputStream("/proc/self/fd/3");
        new FileInputStream(FileDescriptor.in).close();
        System.setIn(InputStream.nullInputStream());
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
    }

    public static void main(String[] arguments) throws Exception {
        Launcher launcher = new Launcher();
        // A container that was started ahead has time to load what actions need.
        if (launcher.orders.available() == 0) {
            launcher.rehearse();
        }
        launcher.serve();
    }

    /**
     * Does once what an initialisation and a run do, which costs a hundred times what
     * it costs the second time: classes are loaded and linked. Nothing is left of it.
     */
    private void rehearse() throws Exception {
        JsonObject value = new JsonObject();
        value.addProperty("name", "value");
        JsonObject order = new JsonObject();
        order.add("value", value);
        order = JsonParser.parseString(order.toString()).getAsJsonObject();
        URL here = Launcher.class.getProtectionDomain().getCodeSource().getLocation();
        try (URLClassLoader loader = new URLClassLoader(new URL[] {here}, null)) {
            Method method = Class.forName("Rehearsal", true, loader).getMethod("main", Object.class);
            method.setAccessible(true);
            method.invoke(null, order.get("value"));
        }
        System.out.print("line");
        out.emit(new ByteArrayOutputStream());
    }

    private void serve() throws IOException {
        for (byte[] line = readLine(); line != null; line = readLine()) {
            JsonObject order;
            try {
                order = JsonParser.parseString(new String(line, StandardCharsets.UTF_8)).getAsJsonObject();
            } catch (RuntimeException unreadable) {
                Runtime.getRuntime().halt(70);
                return;
            }
            if (order.has("init")) {
                init(order.getAsJsonObject("init"));
            } else {
                run(order);
            }
        }
        // Whatever threads user code has left.
        Runtime.getRuntime().halt(0);
    }

    private final byte[] buffer = new byte[1 << 16];
    private int next;
    private int filled;

    /** A line without its end; null once there are no more. */
    private byte[] readLine() throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (;;) {
            if (next == filled) {
                filled = orders.read(buffer);
                next = 0;
                if (filled <= 0) {
                    return null;
                }
            }
            int end = next;
            while (end < filled && buffer[end] != '\n') {
                end++;
            }
            line.write(buffer, next, end - next);
            boolean whole = end < filled;
            next = whole ? end + 1 : end;
            if (whole) {
                return line.toByteArray();
            }
        }
    }

    private void init(JsonObject init) {
        activation = init.get("activation").getAsString();
        String answer = "{\"ok\":true}";
        try {
            for (Map.Entry<String, JsonElement> variable : init.getAsJsonObject("env").entrySet()) {
                environment.put(variable.getKey(), variable.getValue().getAsString());
            }
            action = find(new File(init.get("folder").getAsString()), init.get("main").getAsString());
        } catch (Throwable failure) {
            failure.printStackTrace();
            answer = error("An error has occurred (see logs for details): " + failure);
        }
        end("I " + answer);
    }

    /** The method that `Class` or `Class#method` names, loaded from the code. */
    private static Method find(File folder, String main) throws Exception {
        List<URL> places = new ArrayList<>();
        places.add(folder.toURI().toURL());
        addJars(folder, places);
        addJars(new File(folder, "lib"), places);
        ClassLoader loader = new URLClassLoader(places.toArray(new URL[0]), Launcher.class.getClassLoader());
        Thread.currentThread().setContextClassLoader(loader);
        int mark = main.indexOf('#');
        String name = mark < 0 ? "main" : main.substring(mark + 1);
        Class<?> type = Class.forName(mark < 0 ? main : main.substring(0, mark), true, loader);
        for (Class<?> argument : new Class<?>[] {JsonObject.class, JsonArray.class, JsonElement.class}) {
            try {
                Method method = type.getMethod(name, argument);
                if (Modifier.isStatic(method.getModifiers())
                        && JsonElement.class.isAssignableFrom(method.getReturnType())) {
                    method.setAccessible(true);
                    return method;
                }
            } catch (NoSuchMethodException other) {
                // Perhaps with another argument.
            }
        }
        throw new NoSuchMethodException(
                "public static JsonObject " + name + "(JsonObject) in " + type.getName());
    }

    private static void addJars(File folder, List<URL> places) throws IOException {
        String[] names = folder.list();
        if (names != null) {
            for (String name : names) {
                if (name.endsWith(".jar")) {
                    places.add(new File(folder, name).toURI().toURL());
                }
            }
        }
    }

    private void run(JsonObject order) {
        activation = order.get("activation_id").getAsString();
        String frame;
        try {
            for (Map.Entry<String, JsonElement> member : order.entrySet()) {
                if (!member.getKey().equals("value")) {
                    environment.put("__OW_" + member.getKey().toUpperCase(Locale.ROOT), member.getValue().getAsString());
                }
            }
            Object result = action.invoke(null, order.get("value"));
            if (result == null) {
                throw new NullPointerException("The action returned null");
            }
            JsonElement answer = (JsonElement) result;
            if (answer.isJsonObject() || answer.isJsonArray()) {
                frame = "R " + activation + " " + answer;
            } else {
                frame = "F " + activation + " " + error("The action did not return a dictionary or array.");
            }
        } catch (InvocationTargetException thrown) {
            Throwable cause = thrown.getCause();
            cause.printStackTrace();
            frame = "F " + activation + " "
                    + error("An error has occurred while invoking the action (see logs for details): " + cause);
        } catch (Throwable failure) {
            failure.printStackTrace();
            frame = "F " + activation + " " + error("An error has occurred (see logs for details): " + failure);
        }
        end(frame);
    }

    private static String error(String words) {
        JsonObject error = new JsonObject();
        error.addProperty("error", words);
        return error.toString();
    }

    /** Sends a last frame, after the lines that were left unfinished. */
    private void end(String frame) {
        System.out.flush();
        System.err.flush();
        byte[] line = (frame + "\n").getBytes(StandardCharsets.UTF_8);
        synchronized (frames) {
            out.finish();
            err.finish();
            send(line, line.length);
        }
    }

    private void send(byte[] bytes, int length) {
        try {
            frames.write(bytes, 0, length);
        } catch (IOException gone) {
            Runtime.getRuntime().halt(70);
        }
    }

    /** The variables of this process as Java sees them, and as children will, to be set. */
    @SuppressWarnings("unchecked")
    private static Map<String, String> environment() throws ReflectiveOperationException {
        Map<String, String> shown = System.getenv();
        Field inner = Collections.unmodifiableMap(shown).getClass().getDeclaredField("m");
        inner.setAccessible(true);
        return (Map<String, String>) inner.get(shown);
    }

    /** Stands where standard output or error was. */
    private final class Log extends OutputStream {
        private final char letter;
        private final ByteArrayOutputStream line = new ByteArrayOutputStream();

        private Log(char letter) {
            this.letter = letter;
        }

        @Override
        public void write(int one) {
            write(new byte[] {(byte) one}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) {
            synchronized (frames) {
                ByteArrayOutputStream ready = new ByteArrayOutputStream();
                for (int at = offset; at < offset + length; at++) {
                    if (bytes[at] == '\n') {
                        emit(ready);
                    } else {
                        // Not inside a character.
                        if (line.size() >= LINE_BYTES - 3 && (bytes[at] & 0xC0) != 0x80) {
                            emit(ready);
                        }
                        line.write(bytes[at]);
                    }
                }
                if (ready.size() > 0) {
                    send(ready.toByteArray(), ready.size());
                }
            }
        }

        private void emit(ByteArrayOutputStream ready) {
            Instant now = Instant.now();
            long micros = now.getEpochSecond() * 1_000_000 + now.getNano() / 1000;
            byte[] head = (letter + " " + activation + " " + micros + " ").getBytes(StandardCharsets.US_ASCII);
            ready.write(head, 0, head.length);
            ready.write(line.toByteArray(), 0, line.size());
            ready.write('\n');
            line.reset();
        }

        private void finish() {
            if (line.size() > 0) {
                ByteArrayOutputStream ready = new ByteArrayOutputStream();
                emit(ready);
                send(ready.toByteArray(), ready.size());
            }
        }
    }
}

/** An action for {@link Launcher} to rehearse with. */
final class Rehearsal {
    private Rehearsal() {}

    public static void main(Object value) {}
}
