//! t
#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<(), staffing::Error> {
    let t = std::time::Instant::now();
    let db = staffing::Db::open(
        std::env::var("DATABASE_URL").ok().as_deref(),
        staffing::seed::Scale::FULL,
    )
    .await?;
    println!("{:?} {db:?}", t.elapsed());
    Ok(())
}
