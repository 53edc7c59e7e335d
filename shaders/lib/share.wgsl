// What a sum is multiplied by to be divided by `divisor` where that is above 1, else by 1; NaN of a NaN.
#import nan

fn share_of(divisor: f32) -> f32 {
    return 1.0 / select(max(divisor, 1.0), divisor, is_nan(divisor));
}
