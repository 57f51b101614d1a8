export const dynamic = "force-dynamic";

export default function Page() {
  return <h1>{`Hello, ${process.env.NAME ?? "world"}!`}</h1>;
}
