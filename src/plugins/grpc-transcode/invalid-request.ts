/** What is wrong with a request; the client is told. */
export class InvalidRequest extends Error {
  override name = "InvalidRequest";
}
