// Uploads a file with tus-java-client and prints its URL: `Driver upload ENDPOINT FILE`, or continues an upload:
// `Driver resume URL FILE`.

import io.tus.java.client.TusClient;
import io.tus.java.client.TusUpload;
import io.tus.java.client.TusUploader;
import java.io.File;
import java.net.URL;

public final class Driver {
    public static void main(String[] arguments) throws Exception {
        URL url = new URL(arguments[1]);
        TusUpload upload = new TusUpload(new File(arguments[2]));
        TusClient client = new TusClient();
        TusUploader uploader;
        if (arguments[0].equals("upload")) {
            client.setUploadCreationURL(url);
            uploader = client.createUpload(upload);
        } else {
            uploader = client.beginOrResumeUploadFromURL(upload, url);
        }
        uploader.setChunkSize(256 * 1024);
        uploader.setRequestPayloadSize(1024 * 1024);
        while (uploader.uploadChunk() > -1) {
            continue;
        }
        uploader.finish();
        System.out.println(uploader.getUploadURL());
    }
}
