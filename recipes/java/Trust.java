// Java trusts the certificates of a file in a format of its own. Without a password, the file is the same each time.
// Given: the path of a file of certificates (PEM), and the path of the file to write.
// Leaves: the certificates in that file (PKCS #12).
import java.io.*;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;

class Trust {
    public static void main(String... arguments) throws Exception {
        for (var what : new String[] { "certProtectionAlgorithm", "macAlgorithm" }) System.setProperty("keystore.pkcs12." + what, "NONE");
        var trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(new FileInputStream(arguments[0])))
            trusted.setCertificateEntry("" + trusted.size(), certificate);
        trusted.store(new FileOutputStream(arguments[1]), new char[0]);
    }
}
