package com.example;

import io.nats.client.AuthHandler;
import io.nats.client.Connection;
import io.nats.client.ErrorListener;
import io.nats.client.JetStreamOptions;
import io.nats.client.NKey;
import io.nats.client.Nats;
import io.nats.client.Options;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;

/** A connection to the mesh with a team's key: the team has an account of its own on the broker. */
final class Mesh {

  /** Under its usual prefix the JetStream API would be that of the team's own account, which has none. */
  static final JetStreamOptions API = JetStreamOptions.builder().prefix("jetmesh.api").build();

  private Mesh() {}

  static Connection connect(String url, String team, Path seed)
      throws GeneralSecurityException, IOException, InterruptedException {
    Options options =
        new Options.Builder()
            .server(url)
            .connectionName(team)
            .authHandler(new Seed(Files.readString(seed).trim().toCharArray()))
            .inboxPrefix("_INBOX_" + team + ".")
            .errorListener(new Denials())
            .build();
    return Nats.connect(options);
  }

  /** What the account does not allow is an error of the connection: the call itself only gets no answer. */
  private static final class Denials implements ErrorListener {
    @Override
    public void errorOccurred(Connection connection, String error) {
      System.err.println("error: " + error);
    }
  }

  /** Proves to the broker that we have the seed, which stays here. */
  private static final class Seed implements AuthHandler {
    private final NKey key;
    private final char[] publicKey;

    /** The key is made before the connection: the broker waits two seconds for the signature, and no longer. */
    Seed(char[] seed) throws GeneralSecurityException, IOException {
      key = NKey.fromSeed(seed);
      publicKey = key.getPublicKey();
      key.sign(new byte[0]);
    }

    @Override
    public byte[] sign(byte[] nonce) {
      try {
        return key.sign(nonce);
      } catch (GeneralSecurityException | IOException wrong) {
        throw new IllegalStateException("the seed can't sign", wrong);
      }
    }

    @Override
    public char[] getID() {
      return publicKey;
    }

    @Override
    public char[] getJWT() {
      return null;
    }
  }
}
