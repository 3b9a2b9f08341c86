/** Media types of gRPC-Web: application/grpc-web, with "-text" for base64, and "+proto" or the like for the messages. */

const GRPC_WEB = /^application\/grpc-web(-text)?(\+[a-z0-9.+-]+)?[ \t]*(?:;.*)?$/i;

export interface MediaType {
  /** Messages are written in base64. */
  isText: boolean;
  /** The same messages in gRPC. */
  grpcType: string;
}

/** Null: it is none of gRPC-Web. */
export function readMediaType(contentType: string | undefined): MediaType | null {
  const found = contentType === undefined ? null : GRPC_WEB.exec(contentType);
  if (found === null) return null;
  return { isText: found[1] !== undefined, grpcType: `application/grpc${found[2] ?? ""}` };
}
